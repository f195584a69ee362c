import sys
from pathlib import Path

# The offenders are a package of their own, for the benchmark too.
sys.path.insert(0, str(Path(__file__).parent))
