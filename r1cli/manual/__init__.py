"""Man pages and completion files, made of the signatures and docstrings of the commands and of the texts in pages/.

`python -m r1cli.manual` writes them into man/ and completions/; nothing here runs when r1 does its work.
"""
