"""Checks SPDX documents with spdx-tools alone: FILE.json…

Each must be valid by SPDX 2.3 for parser and validator. So that this means something, each is also broken in a few ways,
which the validator must find.
"""
import copy
import json
import pathlib
import sys
import tempfile

from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document


def problems(document):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "document.json")
        path.write_text(json.dumps(document))
        try:
            return [m.validation_message for m in validate_full_spdx_document(parse_file(str(path)), "SPDX-2.3")]
        except SPDXParsingError as error:
            return error.get_messages()


def no_namespace(document):
    document["documentNamespace"] = "sbom"


def no_such_license(document):
    document["packages"][-1]["licenseDeclared"] = "Apche-2.0"


def dangling(document):
    document["relationships"][0]["relatedSpdxElement"] = "SPDXRef-nothing"


def odd_checksum(document):
    document["packages"][0]["checksums"][0]["checksumValue"] = "ab"


for name in sys.argv[1:]:
    document = json.loads(pathlib.Path(name).read_text())
    found = problems(document)
    if found:
        sys.exit(f"{name} is not valid: " + "; ".join(found[:10]))
    for change in no_namespace, no_such_license, dangling, odd_checksum:
        changed = copy.deepcopy(document)
        change(changed)
        if not problems(changed):
            sys.exit(f"{name} with {change.__name__} was accepted")
    print("valid", name, len(document["packages"]), "packages")
