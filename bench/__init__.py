"""`make bench`: what the bot costs, side by side in one run. Only ratios and counts mean anything."""
