"""Tasks of the room as pure rules: what may follow what, and how the timeline says it."""

OPEN, DONE, DROPPED = "open", "done", "dropped"

ACTS = ("claim", "assign", "release", "done", "reopen", "drop")
LONGEST = 300


def fits(act: str, *, status: str) -> bool:
    """Only what is done or dropped is reopened, only what is open takes anything else."""
    return status != OPEN if act == "reopen" else status == OPEN


def said(act: str, *, number: int, title: str, to: str = "", before: str = "", himself: bool = False) -> str:
    """What the timeline says, without the actor's name in front."""
    of = f", which {before} had" if before else ""
    start = {
        "added": f"added task {number}{f' for {to}' if to else ''}",
        "claimed": f"took task {number}",
        "assigned": f"took task {number}{of}" if himself else f"gave task {number} to {to}{of}",
        "released": f"released task {number}{of}",
        "done": f"finished task {number}",
        "reopened": f"reopened task {number}",
        "dropped": f"dropped task {number}",
    }[act]
    return f"{start}: {title}"
