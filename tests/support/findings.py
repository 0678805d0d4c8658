"""What `validate` finds, as lines."""

import json

from ngcore.validating.validate import validate


def found(folder, severity="error", **options):
    """Return the findings of a severity, each as a line."""
    report = validate(folder, workers=2, **options)
    return [str(finding) for finding in report.findings if finding.severity == severity]


def only(lines):
    assert len(lines) == 1, lines
    return lines[0]


def edit_json(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
