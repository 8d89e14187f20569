"""python -m gateway.ctl"""

import sys

from . import main

sys.exit(main())
