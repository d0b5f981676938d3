"""`python -m mcpgw`."""

import gc
import sys

# Loading makes many objects and no garbage: looking for some as often as usual is a sixth of a start. What
# comes later makes few at a time; the gateway says for itself how often.
gc.set_threshold(50_000, 20, 10)

from mcpgw.cli import main  # noqa: E402 (see above)

sys.exit(main())
