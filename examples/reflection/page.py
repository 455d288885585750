"""placeholder"""


def page(found: dict) -> str:
    return "placeholder\n"
