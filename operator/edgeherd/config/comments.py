"""Comments as the templates of both dialects write them."""


def commented(text: str) -> str:
    """Lines as comments: a hash and a space before each that is not blank."""
    return "\n".join(f"# {line}" if line.strip() else line for line in text.split("\n"))
