"""What a suite fetches once and keeps in a cache folder of its own, and when it cannot."""

import shutil
import subprocess

SETUP_TIMEOUT_S = 600


class Skip(Exception):
    """This cannot run here, and why."""


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"no {program} on the PATH")


def setup(command, **more):
    """Runs a step of preparation; a registry that cannot be reached is a reason to skip, one that
    has something else than what is pinned is not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=SETUP_TIMEOUT_S, **more)
    except subprocess.TimeoutExpired:
        raise Skip(f"{command[0]} took more than {SETUP_TIMEOUT_S} s") from None
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise RuntimeError(done.stderr.strip())
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no message"]
        raise Skip(f"{command[0].rpartition('/')[2]} failed: {last[0]}")


def once(folder, inputs, make):
    """Makes `folder` unless it was made from the same inputs already."""
    stamp = folder / "made-from"
    text = "\n".join(path.read_text() for path in inputs)
    if not stamp.exists() or stamp.read_text() != text:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        stamp.write_text(text)
    return folder
