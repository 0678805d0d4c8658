"""Pages of the site that are made from the program itself, so that they are never out of date.

MkDocs calls these hooks: a page for each command, with its true `--help`; a page for each finding
of `validate`; the library's reference; the notebook, executed; the files of the project's root.
"""

from __future__ import annotations

import base64
import inspect
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
from click.testing import CliRunner
from finding_examples import examples
from mkdocs.structure.files import File, Files

import ngcore
from ngcore.cli import cli
from ngcore.cli._registry import SECTIONS
from ngcore.validating.rules import RULES, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).parents[1]
TO_ROOT = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
WORKER = "https://unpkg.com/iframe-worker/shim"
LIBRARY = {
    "Convert": ("convert", "create", "estimate", "export", "pack"),
    "Read": ("open", "Volume", "ScaleArray", "VolumeInfo", "ScaleInfo", "info"),
    "Check": ("validate", "repair"),
    "Look": ("view", "serve", "link", "gallery", "preview"),
    "Labels and meshes": ("labels", "mesh"),
    "Points, tracts, skeletons": ("annotations", "tracts", "skeletons"),
    "Kernels": ("downsampling", "compressed_segmentation"),
    "Classic steps": ("classic",),
    "Testing": ("testing",),
    "Errors": tuple(name for name in ngcore.__all__ if name.endswith(("Error", "Warning"))),
}


def on_config(config: MkDocsConfig) -> None:
    """Name the made pages in the navigation."""
    reference = next(entry for entry in config.nav or [] if "Reference" in entry)["Reference"]
    commands, library, findings = reference
    commands["Commands"] = ["commands/index.md", *commands_by_section()]
    library["Python"] = ["python/index.md"]
    library["Python"] += [{title: f"python/{slug(title)}.md"} for title in LIBRARY]
    findings["Findings"] = ["findings.md"]
    findings["Findings"] += [{name: f"findings/{name}.md"} for name in RULES]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the made pages."""
    pages = {
        **dict(command_pages()),
        **dict(library_pages()),
        **dict(finding_pages()),
        **{page: root_page(name) for name, page in TO_ROOT.items()},
    }
    made: dict[str, str | bytes] = {**pages, **dict(notebook_page(ROOT / "docs/notebook.ipynb"))}
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the page of all findings lead to the page of each."""
    if page.file.src_uri != "findings.md":
        return markdown
    return re.sub(r"^## ([a-z-]+)$", r"## [\1](findings/\1.md)", markdown, flags=re.MULTILINE)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Take the script by which search works without a server from the site, not from elsewhere."""
    to_root = "../" * page.file.dest_uri.count("/")
    return output.replace(WORKER, f"{to_root}assets/iframe-worker.js")


def slug(title: str) -> str:
    """Return a title as the name of a file."""
    return re.sub(r"\W+", "-", title.lower())


def commands_by_section() -> list[dict[str, list[str]]]:
    """Return the pages of commands under the titles of `ngcore --help`."""
    return [
        {title: [f"commands/{name}.md" for name in entries]} for title, entries in SECTIONS.items()
    ]


def help_of(*words: str) -> str:
    """Return what `ngcore WORDS --help` prints on 80 columns, as wide as a page."""
    size = {"terminal_width": 80, "max_content_width": 80}
    result = CliRunner().invoke(cli, [*words, "--help"], prog_name="ngcore", **size)
    assert result.exit_code == 0, words
    return result.output.rstrip()


def command_pages() -> Iterator[tuple[str, str]]:
    """Yield the page of each command, and one of all."""
    rows = [
        f"| [{name}]({name}.md) | {entry.summary} |"
        for entries in SECTIONS.values()
        for name, entry in entries.items()
    ]
    table = "\n".join(["| command | what it does |", "|---|---|", *rows])
    yield "commands/index.md", f"# Commands\n\n{table}\n\n```text\n{help_of()}\n```\n"
    for name in (name for entries in SECTIONS.values() for name in entries):
        yield f"commands/{name}.md", f"# ngcore {name}\n\n```text\n{help_of(name)}\n```\n"


def library_pages() -> Iterator[tuple[str, str]]:
    """Yield the pages of the library, filled from its docstrings."""
    missing = set(ngcore.__all__) - {name for names in LIBRARY.values() for name in names}
    assert missing == {"__version__"}, f"no page names {missing}"
    rows = []
    for title, names in LIBRARY.items():
        links = ", ".join(f"[`{name}`]({slug(title)}.md)" for name in names)
        rows.append(f"| {title} | {links} |")
        yield f"python/{slug(title)}.md", "\n".join([f"# {title}\n", *map(directive, names)])
    table = "\n".join(["| part | names |", "|---|---|", *rows])
    axes = (
        "Every command is a function of `ngcore`, with its options as keywords. Axes are always "
        "(x, y, z, channel), resolutions nanometres, affines millimetres.\n"
    )
    yield "python/index.md", f"# Python\n\n{axes}\n{table}\n"


def directive(name: str) -> str:
    """Return the lines by which mkdocstrings writes a public name's reference."""
    value = getattr(ngcore, name)
    if not inspect.ismodule(value):
        return f"::: ngcore.{name}\n"
    title = f"## `ngcore.{name}`\n\n{inspect.getdoc(value)}\n"
    functions = [getattr(value, member) for member in value.__all__ if member.islower()]
    options = "    options:\n      heading_level: 3\n"
    return "\n".join(
        [title, *(f"::: {one.__module__}.{one.__name__}\n{options}" for one in functions)]
    )


def finding_pages() -> Iterator[tuple[str, str]]:
    """Yield the page of each finding of `validate`, with what it prints of a damaged volume."""
    shown = examples()
    for name, rule in RULES.items():
        yield f"findings/{name}.md", finding_page(name, rule, shown[name].text)


def finding_page(name: str, rule: Rule, example: str) -> str:
    """Return the page of a finding of `validate`."""
    return (
        f"# {name}\n\n{rule.meaning}\n\n## Why it matters\n\n{rule.why}\n\n"
        f"## What to do\n\n{rule.fix}\n\n## Example\n\n{example}\n"
        f"`ngcore validate --json` names this finding `{name}`. "
        "[All findings](../findings.md), [how volumes are checked](../validate.md).\n"
    )


def root_page(name: str) -> str:
    """Return a file of the project's root with its links as the site has them."""
    text = (ROOT / name).read_text("utf-8").replace("](docs/", "](")
    for file, page in TO_ROOT.items():
        text = text.replace(f"]({file}", f"]({page}")
    return text


def notebook_page(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """Run a notebook in an empty folder; yield its page and pictures."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
    parts = []
    for cell in notebook.cells:
        is_code = cell.cell_type == "code"
        parts.append(f"```python\n{cell.source}\n```" if is_code else cell.source)
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", "")})
            if "image/png" in data:
                picture = f"{path.stem}-{len(parts)}.png"
                yield picture, base64.b64decode(data["image/png"])
                parts.append(f"![What the cell shows]({picture})")
            else:
                parts.append(f"```text\n{data['text/plain'].rstrip()}\n```")
    yield f"{path.stem}.md", "\n\n".join(parts) + "\n"
