"""Signing in with an OpenID Connect issuer: what is asked, what is believed, and every lie that is not."""

from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from yarl import URL

from gateway.auth.providers.oidc import OidcProvider
from gateway.auth.providers.port import ProviderError
from tests.gateway.providers.oidc_stand_in import (
    EC,
    ED,
    METADATA,
    OTHER_RSA,
    RSA,
    OidcStandIn,
    Signer,
    signed_by_a_stranger,
    signed_by_nobody,
    signed_with_the_client_secret,
    signed_with_the_public_key_as_a_secret,
)
from tests.gateway.providers.traveller import arrive, depart, refused, sign_in, visit

ToIssuer = Callable[..., OidcProvider]


async def test_somebody_comes_in_by_their_subject(to_issuer: ToIssuer) -> None:
    identity = await sign_in(to_issuer())
    assert identity.user == "acme:subject-1"
    assert identity.claims.emails == ("ann@example.com",)
    assert identity.claims.name == "Ann"
    assert (identity.claims.organizations, identity.claims.teams) == (None, None)


async def test_the_way_there_carries_pkce_and_a_nonce_that_differ_each_time(to_issuer: ToIssuer) -> None:
    provider = to_issuer(scopes=("openid", "groups"))
    first, second = await depart(provider), await depart(provider)
    query = URL(first.url).query
    assert query["code_challenge_method"] == "S256"
    assert query["scope"] == "openid groups"
    assert query["nonce"] == first.kept["nonce"]
    assert first.kept["verifier"] not in first.url
    assert set(first.kept.values()).isdisjoint(second.kept.values())


async def test_making_a_provider_asks_nothing_of_it(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    to_issuer()
    assert issuer.broken.asked == []


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_the_secret_goes_as_the_metadata_says(
    to_issuer: ToIssuer, issuer: OidcStandIn, method: str
) -> None:
    issuer.auth_method = method
    assert (await sign_in(to_issuer())).subject == "subject-1"


@pytest.mark.parametrize(
    ("methods", "method"),
    [
        (["client_secret_post", "client_secret_basic"], "client_secret_post"),
        (["private_key_jwt", "client_secret_basic", "client_secret_post"], "client_secret_basic"),
        (None, "client_secret_basic"),
    ],
    ids=["Google's order", "another's", "nothing said"],
)
async def test_of_several_ways_the_first_is_taken(
    to_issuer: ToIssuer, issuer: OidcStandIn, methods: list[str] | None, method: str
) -> None:
    issuer.metadata = {"token_endpoint_auth_methods_supported": methods}
    issuer.auth_method = method
    assert (await sign_in(to_issuer())).subject == "subject-1"


async def test_a_way_to_authenticate_that_is_not_spoken_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn
) -> None:
    issuer.auth_method = "private_key_jwt"
    assert (await refused(to_issuer())).reason == "AuthMethodUnknown"


@pytest.mark.parametrize(
    ("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "Ed25519"), (ED, "EdDSA")]
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # the stand-in's way of signing; ours is silent
async def test_signatures_that_only_the_issuer_can_make_are_good(
    to_issuer: ToIssuer, issuer: OidcStandIn, key: Any, alg: str
) -> None:
    issuer.keys, issuer.alg = [RSA, OTHER_RSA, key], alg
    assert (await sign_in(to_issuer())).subject == "subject-1"


# Addresses


@pytest.mark.parametrize(
    ("said", "emails"),
    [
        ({"email": "Ann@Example.com", "email_verified": True}, ("ann@example.com",)),
        ({"email": "ann@example.com", "email_verified": "true"}, ("ann@example.com",)),
        ({"email": "ann@example.com", "email_verified": "True"}, ()),
        ({"email": "ann@example.com", "email_verified": 1}, ()),
        ({"email": "ann@example.com", "email_verified": False}, ()),
        ({"email": "ann@example.com"}, ()),
        ({"email": ["ann@example.com"], "email_verified": True}, ()),
        ({"email": "ann", "email_verified": True}, ()),
        ({}, ()),
    ],
)
async def test_an_address_counts_only_if_it_is_verified(
    to_issuer: ToIssuer, issuer: OidcStandIn, said: dict[str, Any], emails: tuple[str, ...]
) -> None:
    issuer.claims = said
    assert (await sign_in(to_issuer())).claims.emails == emails


async def test_an_address_that_was_not_asked_for_is_not_known(
    to_issuer: ToIssuer, issuer: OidcStandIn
) -> None:
    issuer.claims = {}
    assert (await sign_in(to_issuer(scopes=("openid",)))).claims.emails is None


async def test_userinfo_is_asked_only_where_no_address_was_said(
    to_issuer: ToIssuer, issuer: OidcStandIn
) -> None:
    issuer.userinfo = {"sub": "subject-1", "email": "u@example.com", "email_verified": True, "name": "Uma"}
    assert (await sign_in(to_issuer())).claims.emails == ("ann@example.com",)
    assert "/userinfo" not in issuer.broken.asked
    issuer.claims = {}
    claims = (await sign_in(to_issuer())).claims
    assert (claims.emails, claims.name) == (("u@example.com",), "Uma")


async def test_what_the_token_calls_verified_is_not_userinfos_address(
    to_issuer: ToIssuer, issuer: OidcStandIn
) -> None:
    issuer.claims = {"email_verified": True}
    issuer.userinfo = {"sub": "subject-1", "email": "somebody-else@example.com"}
    assert (await sign_in(to_issuer())).claims.emails == ()


@pytest.mark.parametrize("other", ["subject-2", None, ["subject-1"]])
async def test_userinfo_of_somebody_else_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, other: object
) -> None:
    issuer.claims = {}
    issuer.userinfo = {"sub": other, "email": "u@example.com", "email_verified": True}
    assert (await refused(to_issuer())).reason == "ForeignIssuer"


# Whose answer it is


@pytest.mark.negative(26)
@pytest.mark.parametrize("foreign", ["https://evil.example", ""])
async def test_an_answer_that_names_another_issuer_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, foreign: str
) -> None:
    issuer.names_itself = foreign
    assert (await refused(to_issuer())).reason == "ForeignIssuer"
    assert "/token" not in issuer.broken.asked


@pytest.mark.negative(26)
async def test_a_foreign_issuer_is_refused_also_where_the_metadata_promises_none(
    to_issuer: ToIssuer, issuer: OidcStandIn
) -> None:
    provider = to_issuer()
    departure = await depart(provider)
    params = await visit(departure.url)
    with pytest.raises(ProviderError) as refusal:
        await arrive(provider, {**params, "iss": issuer.issuer + "/"}, departure.kept)
    assert refusal.value.reason == "ForeignIssuer"
    assert (await arrive(provider, {**params, "iss": issuer.issuer}, departure.kept)).subject == "subject-1"


@pytest.mark.negative(26)
@pytest.mark.parametrize("cancels", [False, True], ids=["with a code", "with an error"])
async def test_an_answer_without_the_promised_issuer_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, cancels: bool
) -> None:
    issuer.names_itself, issuer.cancels = issuer.issuer, cancels
    provider = to_issuer()
    departure = await depart(provider)
    params = await visit(departure.url)
    assert params.pop("iss") == issuer.issuer
    with pytest.raises(ProviderError) as refusal:
        await arrive(provider, params, departure.kept)
    assert refusal.value.reason == "ForeignIssuer"


async def test_an_issuer_that_names_itself_is_believed(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    issuer.names_itself = issuer.issuer
    assert (await sign_in(to_issuer())).subject == "subject-1"


@pytest.mark.negative(27)
async def test_a_code_of_another_provider_is_worth_nothing(to_issuer: ToIssuer) -> None:
    provider = to_issuer()
    departure = await depart(provider)
    with pytest.raises(ProviderError) as refusal:
        await arrive(provider, {"state": "the-state", "code": "from-elsewhere"}, departure.kept)
    assert refusal.value.reason == "CodeRefused"


# What the id_token says


@pytest.mark.negative(29)
@pytest.mark.parametrize("nonce", ["another", None, "", 7, ["x"]], ids=repr)
async def test_an_id_token_with_a_bad_nonce_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, nonce: object
) -> None:
    issuer.lies = {"nonce": nonce}
    error = await refused(to_issuer())
    assert (error.reason, error.retryable) == ("BadNonce", False)


@pytest.mark.negative(29)
async def test_an_id_token_of_an_earlier_sign_in_is_refused(to_issuer: ToIssuer) -> None:
    """Even with its own code and verifier: the nonce is what ties it to this browser."""
    provider = to_issuer()
    stolen, own = await depart(provider), await depart(provider)
    params = await visit(stolen.url)
    with pytest.raises(ProviderError) as refusal:
        await arrive(provider, params, {**stolen.kept, "nonce": own.kept["nonce"]})
    assert refusal.value.reason == "BadNonce"


@pytest.mark.negative(30)
@pytest.mark.parametrize(
    "lies",
    [
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": []},
        {"aud": None},
        {"aud": {"gateway": True}},
        {"aud": ["gateway", 7]},
        {"aud": ["gateway", "another"]},
        {"aud": ["gateway", "another"], "azp": "another"},
        {"azp": "another"},
        {"azp": 7},
    ],
    ids=repr,
)
async def test_an_id_token_with_a_bad_audience_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, lies: dict[str, Any]
) -> None:
    issuer.lies = lies
    error = await refused(to_issuer())
    assert (error.reason, error.retryable) == ("BadAudience", False)


@pytest.mark.parametrize("lies", [{"aud": ["gateway"]}, {"aud": ["gateway", "other"], "azp": "gateway"}])
async def test_an_audience_among_others_is_good_if_the_token_was_made_for_us(
    to_issuer: ToIssuer, issuer: OidcStandIn, lies: dict[str, Any]
) -> None:
    issuer.lies = lies
    assert (await sign_in(to_issuer())).subject == "subject-1"


@pytest.mark.negative(31)
@pytest.mark.parametrize(
    "sign",
    [signed_by_nobody, signed_with_the_client_secret, signed_with_the_public_key_as_a_secret],
    ids=["none", "the client's secret", "the public key as a secret"],
)
async def test_an_id_token_with_a_bad_algorithm_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, sign: Signer
) -> None:
    issuer.sign = sign
    error = await refused(to_issuer())
    assert (error.reason, error.retryable) == ("BadAlgorithm", False)


async def test_a_strangers_signature_is_refused_after_one_look_for_newer_keys(
    to_issuer: ToIssuer, issuer: OidcStandIn
) -> None:
    issuer.sign = signed_by_a_stranger
    assert (await refused(to_issuer())).reason == "BadSignature"
    assert issuer.broken.asked.count("/jwks") == 2


async def test_keys_that_changed_are_fetched_anew_once(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    provider = to_issuer()
    await sign_in(provider)
    issuer.keys = [OTHER_RSA]
    assert (await sign_in(provider)).subject == "subject-1"
    assert (await sign_in(provider)).subject == "subject-1"
    assert issuer.broken.asked.count("/jwks") == 2


async def test_keys_that_cannot_be_used_are_passed_over(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    odd = [
        7,
        {"kty": "lattice", "kid": "first"},
        {"kty": ["RSA"], "kid": "first"},
        {"kty": "RSA", "kid": "first", "n": "!", "e": "AQAB"},
        {"kty": "oct", "kid": "first", "k": "AAAA"},
        {**RSA.as_dict(private=False), "use": "enc"},
        RSA.as_dict(private=False),
    ]
    issuer.broken.answer("/jwks", {"keys": odd})
    assert (await sign_in(to_issuer())).subject == "subject-1"


@pytest.mark.filterwarnings("ignore:Key size")  # made on purpose
async def test_a_key_that_is_too_weak_signs_nothing(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    issuer.keys = [RSAKey.generate_key(1024, {"kid": "weak"})]
    assert (await refused(to_issuer())).reason == "BadSignature"


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"iss": "https://evil.example"}, "BadIssuer"),
        ({"iss": None}, "BadIssuer"),
        ({"iss": ["x"]}, "BadIssuer"),
        ({"exp": None}, "TokenExpired"),
        ({"exp": "never"}, "TokenExpired"),
        ({"iat": None}, "TokenAhead"),
        ({"iat": True}, "TokenAhead"),
        ({"sub": None}, "BadToken"),
        ({"sub": 7}, "BadToken"),
        ({"sub": ""}, "BadToken"),
        ({"sub": "s" * 256}, "ProviderNonsense"),
    ],
    ids=repr,
)
async def test_an_id_token_that_does_not_say_what_it_has_to_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, lies: dict[str, Any], reason: str
) -> None:
    issuer.lies = lies
    assert (await refused(to_issuer())).reason == reason


@pytest.mark.parametrize("ahead_s", [-110, 110])
async def test_two_minutes_between_the_clocks_do_no_harm(
    to_issuer: ToIssuer, issuer: OidcStandIn, ahead_s: int
) -> None:
    now = issuer.clock()
    issuer.lies = {"iat": int(now) + ahead_s, "exp": int(now) + ahead_s}
    assert (await sign_in(to_issuer())).subject == "subject-1"


@pytest.mark.parametrize(
    ("lies", "reason"),
    [({"exp": -130}, "TokenExpired"), ({"iat": 130}, "TokenAhead"), ({"nbf": 130}, "TokenAhead")],
    ids=["over", "issued ahead", "good only later"],
)
async def test_more_than_two_minutes_are_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, lies: dict[str, int], reason: str
) -> None:
    issuer.lies = {claim: int(issuer.clock()) + offset_s for claim, offset_s in lies.items()}
    assert (await refused(to_issuer())).reason == reason


# What the metadata says


@pytest.mark.parametrize("said", ["https://evil.example", "/", None, 7], ids=repr)
async def test_the_issuer_is_the_configured_one_byte_for_byte(
    to_issuer: ToIssuer, issuer: OidcStandIn, said: object
) -> None:
    issuer.metadata = {"issuer": issuer.issuer + "/" if said == "/" else said}
    error = await refused(to_issuer())
    assert error.reason in ("IssuerDiffers", "ProviderNonsense")
    if isinstance(said, str):
        assert error.setting == "OAUTH_ACME_ISSUER"


@pytest.mark.parametrize(
    ("member", "url"),
    [
        ("authorization_endpoint", "http://evil.example/authorize"),
        ("token_endpoint", "http://10.0.0.1/token"),
        ("jwks_uri", "file:///etc/passwd"),
        ("userinfo_endpoint", "https://user:word@evil.example/"),
        ("authorization_endpoint", "javascript:alert(1)"),
    ],
)
async def test_an_endpoint_that_is_not_https_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, member: str, url: str
) -> None:
    issuer.metadata = {member: url}
    error = await refused(to_issuer())
    assert (error.reason, error.setting) == ("EndpointUnsafe", "OAUTH_ACME_ISSUER")


async def test_an_authorization_endpoint_may_have_a_query(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    issuer.metadata = {"authorization_endpoint": f"{issuer.issuer}/authorize?tenant=a"}
    assert URL((await depart(to_issuer())).url).query["tenant"] == "a"
    assert (await sign_in(to_issuer())).subject == "subject-1"


@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
async def test_metadata_without_an_endpoint_make_no_sense(
    to_issuer: ToIssuer, issuer: OidcStandIn, member: str
) -> None:
    issuer.metadata = {member: None}
    assert (await refused(to_issuer())).reason == "ProviderNonsense"


async def test_metadata_are_read_once_for_many_sign_ins(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    provider = to_issuer()
    for _ in range(3):
        await sign_in(provider)
    assert (issuer.broken.asked.count(METADATA), issuer.broken.asked.count("/jwks")) == (1, 1)


async def test_an_issuer_with_a_slash_at_its_end_is_found(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    issuer.metadata = {"issuer": issuer.issuer + "/"}
    issuer.lies = {"iss": issuer.issuer + "/"}
    assert (await sign_in(to_issuer(issuer=issuer.issuer + "/"))).subject == "subject-1"


# What people and operators do


async def test_pressing_cancel_has_a_reason_of_its_own(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    issuer.cancels = True
    error = await refused(to_issuer())
    assert (error.reason, error.retryable, error.setting) == ("SignInCancelled", False, "")


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        ("server_error", "ProviderFailed", True),
        ("temporarily_unavailable", "ProviderFailed", True),
        ("login_required", "ProviderRefused", False),
        ("<b>", "ProviderRefused", False),
    ],
)
async def test_an_error_by_way_of_the_browser_is_told(
    to_issuer: ToIssuer, error: str, reason: str, retryable: bool
) -> None:
    with pytest.raises(ProviderError) as refusal:
        await arrive(to_issuer(), {"error": error}, {})
    assert (refusal.value.reason, refusal.value.retryable) == (reason, retryable)
    assert "<" not in refusal.value.detail


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_wrong_secret_names_its_setting(
    to_issuer: ToIssuer, issuer: OidcStandIn, method: str
) -> None:
    issuer.auth_method = method
    error = await refused(to_issuer(client_secret="stale-secret"))
    assert (error.reason, error.setting) == ("ClientRefused", "OAUTH_ACME_CLIENT_SECRET")
    assert "stale-secret" not in str(error)


@pytest.mark.parametrize(
    ("error", "setting"),
    [
        ("unauthorized_client", "OAUTH_ACME_CLIENT_ID"),
        ("invalid_scope", "OAUTH_ACME_SCOPES"),
        ("<b>", ""),
        ("", ""),
    ],
)
async def test_what_the_token_endpoint_refuses_names_its_setting(
    to_issuer: ToIssuer, issuer: OidcStandIn, error: str, setting: str
) -> None:
    issuer.broken.answer("/token", {"error": error}, status=400)
    refusal = await refused(to_issuer())
    assert refusal.setting == setting
    assert "<" not in refusal.detail


async def test_a_401_without_a_reason_is_a_wrong_secret(to_issuer: ToIssuer, issuer: OidcStandIn) -> None:
    issuer.broken.answer("/token", b"<html>who?</html>", status=401)
    assert (await refused(to_issuer())).setting == "OAUTH_ACME_CLIENT_SECRET"


async def test_a_client_that_is_not_for_openid_connect_is_told_so(
    to_issuer: ToIssuer, issuer: OidcStandIn
) -> None:
    issuer.broken.answer("/token", {"access_token": "a", "token_type": "Bearer"})
    assert (await refused(to_issuer())).reason == "IdTokenMissing"


@pytest.mark.parametrize(
    "token", ["x", "a.b.c", "e30.e30.e30", "ünï.cö.de", "x" * 200_000, "eyJhbGciOiBbXX0.e30.AA"]
)
async def test_an_id_token_that_is_none_is_refused(
    to_issuer: ToIssuer, issuer: OidcStandIn, token: str
) -> None:
    issuer.broken.answer("/token", {"access_token": "a", "token_type": "Bearer", "id_token": token})
    assert (await refused(to_issuer())).reason in ("ProviderNonsense", "BadAlgorithm")
