"""What applies to all that is run from here."""

import gc

# Each bot leaves cycles behind, and to look for them Python goes through all that was imported, again and again.
gc.set_threshold(50_000, 20, 100)
