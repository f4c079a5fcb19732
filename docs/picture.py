"""Make `docs/report.png`, the picture of a report: `eventhpo demo`, its report, and a screenshot of it in Chromium.

python docs/picture.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.report.browser import launched, tab  # noqa: E402  the folder of this script is the first that Python looks in

TARGET = ROOT / "docs" / "report.png"
MOST = 200_000  # bytes: a picture in a README is fetched by each reader
SHOWN = ("verdict-title", "curves-title")  # sections of the page, and the slider
ONLY_THESE = f"""
    for (const section of document.querySelectorAll("main > section")) {{
      if (!{list(SHOWN)}.includes(section.getAttribute("aria-labelledby"))) section.remove();
    }}
    for (const part of document.querySelectorAll("nav, footer, h3, #no-prunes, .scroll, #meta")) part.remove();
"""


def main() -> None:
    """Write the picture."""
    command = [sys.executable, "-m", "eventhpo"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "demo"
        subprocess.run([*command, "demo", "--folder", str(folder), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        page = folder / "report.html"
        subprocess.run([*command, "report", str(folder / "search.db"), "-o", str(page)], check=True)
        with launched() as browser, tab(browser, viewport={"width": 960, "height": 700}) as opened:
            opened.open(page)
            opened.run(f"() => {{{ONLY_THESE}}}")
            opened.page.screenshot(path=str(TARGET), full_page=True)
    size = TARGET.stat().st_size
    print(f"{TARGET.relative_to(ROOT)}: {size} bytes")  # noqa: T201  a script that people call
    if size > MOST:
        sys.exit(f"the picture is larger than {MOST} bytes")


if __name__ == "__main__":
    main()
