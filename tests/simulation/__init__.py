"""The whole operator on virtual time, with everything that can go wrong going wrong.

``town`` is the world: a pretend machine, a store in memory, directories, weather. ``processes`` are what
can be killed in it: reconcilers and gateway workers. ``judge`` watches every change for what must never
happen; ``misfortunes`` and ``people`` are what happens; ``peace`` says what must hold once it is over.
"""
