"""Pages as Chromium shows them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Notes errors from the first script on, and at the end writes what it saw into the page's title.
WATCH = """<script>
window.seen = [];
window.addEventListener("error", event => window.seen.push(String(event.message || event.target.src)), true);
console.error = (...words) => window.seen.push(words.join(" "));
window.addEventListener("load", () => setTimeout(() => {
  const page = document.scrollingElement;
  const wide = [...document.querySelectorAll("body *")].filter(node => {
    let box = node.parentElement;
    while (box && getComputedStyle(box).overflowX === "visible") box = box.parentElement;
    const inside = box && box !== document.body && box !== page;
    const scrolls = inside && getComputedStyle(box).overflowX !== "hidden";
    return !scrolls && node.getBoundingClientRect().right > window.innerWidth + 1;
  });
  document.title = "SEEN" + JSON.stringify({
    beyond: Math.max(0, page.scrollWidth - window.innerWidth),
    wide: wide.slice(0, 5).map(node => node.tagName + "." + node.className),
    errors: window.seen,
    text: document.body.innerText.slice(0, 20000),
  }) + "END";
}, 1500));
</script>"""


@dataclass(frozen=True)
class Seen:
    """A page in a window of some width.

    Attributes
    ----------
    beyond : float
        Pixels by which the page is wider than the window.
    wide : list of str
        Elements that stick out of it and do not scroll by themselves.
    errors : list of str
        Of the console.
    text : str
        What a reader sees, its beginning.
    """

    beyond: float
    wide: list[str]
    errors: list[str]
    text: str


def look_at(page: Path, width: int, folder: Path, height: int = 900) -> Seen:
    """Open a page; a screenshot of it goes to `<width>.png` in `folder`."""
    watched = folder / f"watched-{page.name}"
    html = page.read_text(encoding="utf-8")
    watched.write_text(re.sub(r"(<head[^>]*>)", lambda m: m[1] + WATCH, html, count=1), encoding="utf-8")
    common = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"]
    patience = ["--virtual-time-budget=15000", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"]
    for what in (
        [f"--screenshot={folder / f'{width}.png'}", page.as_uri()],
        ["--dump-dom", watched.as_uri()],
    ):
        done = subprocess.run(
            [str(CHROMIUM), *common, *patience, *what],
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )
    told = re.search(r"<title>SEEN(.*?)END</title>", done.stdout, re.DOTALL)
    assert told, f"{page} did not finish loading"
    return Seen(**json.loads(unescape(told[1])))
