"""A shell on a pseudo-terminal that a test types at: text, TAB, and the line as it stands afterwards."""

import os
import pty
import re
import select
import signal
import subprocess
import time

SECONDS = 60
SIZE = 40, 200  # rows and columns: no line is folded
STEERING = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\([A-Z]|\][^\x07]*\x07|[=>])")  # colours, titles, moves
# Each shell is told to print the line between marks at Ctrl-X p, and to insert all candidates at Ctrl-X a.
START = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "bind 'set enable-bracketed-paste off'; bind 'set completion-query-items 0'; bind 'set page-completions off'\n"
        "bind -x '\"\\C-xp\": printf \"\\n<<%s>>\\n\" \"$READLINE_LINE\"'; bind '\"\\C-xa\": insert-completions'\n"
        "source {completions}/r1.bash\n",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        "unsetopt zle_bracketed_paste prompt_sp beep; PS1='% '; setopt no_list_ambiguous\n"
        "fpath=({completions} $fpath); autoload -Uz compinit; compinit -u -D\n"
        "show-line() {{ print -r -- $'\\n'\"<<$BUFFER>>\"; zle redisplay }}; zle -N show-line\n"
        "bindkey '^Xp' show-line\n"
        "zle -C every complete-word _generic; zstyle ':completion:every:*' completer _all_matches _complete\n"
        "zstyle ':completion:every:*' insert true; bindkey '^Xa' every\n",
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        "function fish_prompt; echo '> '; end; set -g fish_autosuggestion_enabled 0; set -g fish_color_command\n"
        "source {completions}/r1.fish\n"
        "bind \\cxp 'echo; echo \"<<\"(commandline)\">>\"; commandline -f repaint'\n",
    ),
}  # fmt: skip


class Shell:
    """An interactive shell in a folder, with our completions loaded; a context manager."""

    def __init__(self, kind: str, folder, completions):
        self.kind = kind
        command, setup = START[kind]
        self.master, slave = pty.openpty()
        import fcntl
        import struct
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder / "home"), "TERM": "xterm", "LC_ALL": "C.UTF-8",
            "XDG_CONFIG_HOME": str(folder / "home"), "XDG_DATA_HOME": str(folder / "home"), "PS1": "$ ",
        }  # fmt: skip
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.seen = ""
        for line in setup.format(completions=completions).splitlines():
            self.type(line + "\r")
        self.type("echo rea''dy\r")
        self.until(r"ready\n")

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)

    def type(self, text: str) -> None:
        """Types the text."""
        os.write(self.master, text.encode())

    def until(self, pattern: str) -> re.Match[str]:
        """Reads what the terminal shows until it matches, and forgets it."""
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(pattern, STEERING.sub("", self.seen))):
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{self.kind} shows {self.seen[-500:]!r}, not {pattern}"
            self.seen += os.read(self.master, 1 << 16).decode(errors="replace").replace("\r", "")
        self.seen = STEERING.sub("", self.seen)[found.end() :]
        return found

    def after(self, text: str) -> str:
        """The line after the text has been typed and keys in it pressed, \\t among them; it is then emptied."""
        self.type(text)
        self.type("\x18p")
        line = self.until(r"<<([^\n]*)>>\n")[1]
        self.type("\x01\x0b")
        return line
