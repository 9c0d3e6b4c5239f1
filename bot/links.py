"""Templates of links: which placeholders they may have."""

import string

PLACEHOLDERS = ("cluster_id", "instance_id", "remediation_id", "mode", "xid", "node")


def placeholders(template: str) -> list[str]:
    """Return the names in braces of a template.

    Raises:
        ValueError: its braces don't match, or hold more than a name.
    """
    found = []
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if spec or conversion:
            raise ValueError("has more than a name in braces")
        found.append(name)
    return found
