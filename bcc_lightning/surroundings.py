"""What is settled before other libraries are imported: the current folder, the user's name and home, how long threads wait.

With ``docker run --user 12345``, and on OpenShift, the number of the user has no entry in ``/etc/passwd``. Libraries that ask for
the name or the home folder of the user (MLflow, torch, Matplotlib, platformdirs) then fail, each in its own place.
"""

import os
import sys

try:
    import pwd
except ImportError:  # Windows has no such file
    pwd = None  # type: ignore[assignment]


def complete_account() -> None:
    """Set the name and the home folder of the user if neither the environment nor ``/etc/passwd`` has them.

    The name is ``uid`` with the number, the home folder is ``/``, as container runtimes set it: libraries that cannot write
    there fall back to a temporary folder.
    """
    if pwd is None or has_entry():
        return
    if not any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):  # read by `getpass`
        os.environ["LOGNAME"] = os.environ["USER"] = f"uid{os.getuid()}"
    if not os.environ.get("HOME"):
        os.environ["HOME"] = "/"


def limit_spinning() -> None:
    """Let torch's threads wait briefly before they yield their core, unless the environment says otherwise.

    Threads that wait for one another keep their core busy. GNU's OpenMP, on which torch is built, does so for very long, which
    stalls a training whose cores other processes use too; it reads the limit when torch is imported.
    `benchmarks/shared_machine.py` has what each setting costs and saves.
    """
    if not os.environ.get("OMP_WAIT_POLICY"):
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def refuse_missing_folder() -> None:
    """Exit if the current folder has been deleted: torch's libraries would abort without naming the reason.

    Raises:
        SystemExit: with the exit code of a `UserError`.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        print("error: the current folder no longer exists; change to an existing one with cd", file=sys.stderr)
        raise SystemExit(2) from None


def has_entry() -> bool:
    """Check whether ``/etc/passwd``, or the directory service in its place, has an entry for the user."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True
