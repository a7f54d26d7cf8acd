"""Build the book in English and Korean: `python docs/build.py`, then open `build/book/index.html`.

The lessons are executed if their code has changed; with `--unexecuted` they have no results.

A warning is an error, and so is a dead link, or a file that a page would fetch from another host.
"""

import argparse
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

DOCS = Path(__file__).parent
BUILD = DOCS.parent / "build"
SITE = BUILD / "book"
# what a browser fetches with a page; an `a` is followed by the reader alone
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


def main():
    parser = argparse.ArgumentParser(description="Build the book in English and Korean.")
    parser.add_argument("--unexecuted", action="store_true", help="do not execute the lessons")
    settings = ["-Dnb_execution_mode=off"] if parser.parse_args().unexecuted else []
    started = time.monotonic()
    shutil.rmtree(SITE, ignore_errors=True)
    run_sphinx("en", SITE, settings)
    run_sphinx("ko", SITE / "ko", settings)
    faults = check(SITE)
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{SITE / 'index.html'}: {time.monotonic() - started:.0f} s, {len(faults)} faults")
    sys.exit(1 if faults else 0)


def run_sphinx(language, target, settings):
    strict = ["--quiet", "--fail-on-warning", "--keep-going", "--fresh-env"]
    places = ["--doctree-dir", str(BUILD / "doctrees" / language), str(DOCS), str(target)]
    command = [sys.executable, "-m", "sphinx", *strict, f"-Dlanguage={language}", *settings, *places]
    if subprocess.run(command).returncode != 0:
        sys.exit(f"the {language} pages were not built; the reason stands above")


class Page(HTMLParser):
    """The links, the anchors and the fetched files of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.fetched = [], {""}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in FETCHED and given.get(FETCHED[tag]):
            self.fetched.append(given[FETCHED[tag]])


def check(site):
    """A line for every link to a page or anchor that is not there, and for every file of another host."""
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    faults = []
    for path, page in pages.items():
        outside = [url for url in page.fetched if urlsplit(url).netloc]
        dead = [url for url in page.links + page.fetched if _is_dead(url, path, pages)]
        faults += [f"{path.relative_to(site.resolve())}: {url}" for url in outside + dead]
    return faults


def _is_dead(url, path, pages):
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target in pages:
        return unquote(parts.fragment) not in pages[target].anchors
    return not target.is_file()


if __name__ == "__main__":
    main()
