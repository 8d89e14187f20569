"""What the gateway costs and what it can do, measured: `python -m bench`."""
