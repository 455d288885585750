"""python -m r1cli"""

from r1cli.app import main

main()
