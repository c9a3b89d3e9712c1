"""`python -m statqat_sim.cli`, the same as `statqat-sim`."""

from statqat_sim.cli import main

main()
