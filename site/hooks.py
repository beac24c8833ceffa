"""What the pages in docs/ are given on their way to the site, beside what mkdocs does.

A line `<!-- include: PATH -->` is replaced by that file of the repository: a Markdown file without its title and before the
heading that `until` names, what is between two of its headings with `section`, any other file as a block of code. Links to
files outside docs/ lead to the page that has them, or to the repository. What is missing is a warning, and so an error.
"""

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/botfarm/botfarm"
log = logging.getLogger("mkdocs.hooks")

# Pages that are files of the repository, as a whole.
WHOLE = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
# What a link to a file outside docs/ leads to.
PAGES = {
    "clients/action/README.md": "start/github-actions.md",
    "clients/junit/README.md": "start/junit.md",
    "clients/playwright/README.md": "start/playwright.md",
    "clients/python/README.md": "start/pytest.md",
} | {file: page for page, file in WHOLE.items()}
LANGUAGES = {".sh": "sh", ".rs": "rust", ".ts": "ts", ".py": "python", ".yml": "yaml", ".java": "java", ".csv": "text"}

INCLUDE = re.compile(r"^<!-- include: (\S+)(?: (section|until)=\"([^\"]+)\")? -->$", re.MULTILINE)
# In a line of text, not in one of code: what stands between backticks is passed over.
LINK = re.compile(r"(`[^`\n]*`)|(\]\()([^)\s#]*)(#[^)\s]*)?(\))")
FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files, config):
    for page, file in WHOLE.items():
        files.append(File.generated(config, page, content=f"<!-- include: {file} -->\n", inclusion=0))
        files.get_file_from_path(page).inclusion = files.get_file_from_path("index.md").inclusion
    return files


def on_page_markdown(markdown, page, config, files):
    here = page.file.src_uri
    # The links of docs/ itself first, then each include with links of its own.
    pieces, end = [], 0
    for match in INCLUDE.finditer(markdown):
        pieces += [linked(markdown[end : match.start()], f"docs/{here}", here), included(*match.groups(), here)]
        end = match.end()
    text = "".join([*pieces, linked(markdown[end:], f"docs/{here}", here)])
    # Comments for those who change the page.
    return re.sub(r"^<!-- .*? -->\n", "", text, flags=re.MULTILINE)


def on_page_content(html, page, config, files):
    # The names of tests are long: in a table they may go on in the next line, after each word.
    return re.sub(r"<code>(\w{24,})</code>", lambda match: f"<code>{match[1].replace('_', '_<wbr>')}</code>", html)


def included(path, how, heading, here):
    """The text of a file of the repository, as a part of the page `here`."""
    file = ROOT / path
    if not file.is_file():
        log.warning(f"{here}: includes {path}, which is not there")
        return ""
    text = file.read_text()
    if file.suffix != ".md":
        name = LANGUAGES.get(file.suffix, "text")
        return f"```{name}\n{text.strip()}\n```"
    if here not in WHOLE:
        text = re.sub(r"\A# .*\n", "", text)
    if how == "until":
        before, found, _ = text.partition(f"\n{heading}\n")
        text = before
    elif how == "section":
        _, found, after = text.partition(f"\n{heading}\n")
        level = len(heading) - len(heading.lstrip("#"))
        text = re.split(rf"^#{{1,{level}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]
    if how and not found:
        log.warning(f"{here}: {path} has no heading {heading!r}")
    return linked(text.strip() + "\n", path, here)


def linked(text, source, here):
    """The text with the links of the file `source` as they are to be on the page `here`."""

    def link(match):
        code, start, target, anchor, end = match.groups()
        if code or not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path.startswith("docs/") and (ROOT / path).is_file():
            target = posixpath.relpath(path.removeprefix("docs/"), posixpath.dirname(here))
        elif path in PAGES:
            target = posixpath.relpath(PAGES[path], posixpath.dirname(here))
        elif (ROOT / path).exists():
            target = f"{REPOSITORY}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"
        elif source.startswith("docs/") and path.removeprefix("docs/") in WHOLE:
            pass
        else:
            log.warning(f"{here}: {source} links to {target}, which is not there")
        return f"{start}{target}{anchor or ''}{end}"

    return "".join(piece if piece.startswith("```") else LINK.sub(link, piece) for piece in FENCE.split(text))
