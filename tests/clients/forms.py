"""A page as somebody without scripts sees it: its forms, their buttons, its links."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

Attributes = list[tuple[str, str | None]]


@dataclass
class Button:
    """What may be pressed: a form's button, or a link (which has an address and no form)."""

    name: str = ""
    value: str = ""
    label: str = ""
    action: str | None = None
    form: "Form | None" = None

    def is_meant_by(self, wish: str) -> bool:
        """``name=value`` of it, or of its form's fields if it is the only button; or words of its label."""
        name, is_pair, value = wish.partition("=")
        if not is_pair:
            return wish.casefold() in self.label.casefold()
        if (self.name, self.value) == (name, value):
            return True
        return self.form is not None and len(self.form.buttons) == 1 and self.form.fields.get(name) == value


@dataclass
class Form:
    """What it sends: hidden fields among the others, with the values they come with."""

    action: str = ""
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[Button] = field(default_factory=list)


class Page(HTMLParser):
    """Forms, and all that may be pressed, in the page's order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.pressable: list[Button] = []
        self.words: list[str] = []
        self._form: Form | None = None
        self._labelled: Button | None = None
        self._is_unseen = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        attributes = {name: value or "" for name, value in attrs}
        match tag:
            case "form":
                self._form = Form(attributes.get("action", ""), attributes.get("method", "get").lower())
                self.forms.append(self._form)
            case "input":
                self._input(attributes)
            case "button" if attributes.get("type", "submit") == "submit":
                self._press(attributes)
            case "a" if "href" in attributes:
                self._labelled = Button(action=attributes["href"])
                self.pressable.append(self._labelled)
            case "style" | "script" | "title":
                self._is_unseen = True

    def handle_endtag(self, tag: str) -> None:
        match tag:
            case "form":
                self._form = None
            case "button" | "a":
                self._labelled = None
            case "style" | "script" | "title":
                self._is_unseen = False

    def handle_data(self, data: str) -> None:
        if self._is_unseen or not data.strip():
            return
        self.words.append(data.strip())
        if self._labelled is not None:
            self._labelled.label = f"{self._labelled.label} {data.strip()}".strip()

    def _input(self, attributes: dict[str, str]) -> None:
        kind = attributes.get("type", "text").lower()
        if kind == "submit":
            self._press(attributes)
            if self._labelled is not None:
                self._labelled.label = attributes.get("value", "")
            self._labelled = None
        elif self._form is not None and "name" in attributes:
            if kind in ("checkbox", "radio") and "checked" not in attributes:
                return
            self._form.fields[attributes["name"]] = attributes.get("value", "")

    def _press(self, attributes: dict[str, str]) -> None:
        if self._form is None or "disabled" in attributes:
            return
        button = Button(
            attributes.get("name", ""),
            attributes.get("value", ""),
            action=attributes.get("formaction"),
            form=self._form,
        )
        self._form.buttons.append(button)
        self.pressable.append(button)
        self._labelled = button
