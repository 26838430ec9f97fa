"""What every test runs with: no window is opened, and (pyproject.toml) warnings are errors."""

import os

os.environ["MPLBACKEND"] = "Agg"  # also for the processes that tests start
