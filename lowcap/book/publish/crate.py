"""The book as an RO-Crate: what was run, on which data, with which versions, and what was found (`rocrate` writes it).

Each execution of a chapter is a CreateAction, as in the Process Run Crate profile: notebook, parameters and data in,
executed notebook out. Each judged claim is a ClaimReview. Numbers come from the site's `provenance.json` and
`results.json`; nothing is measured here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

METADATA = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
VERSION = "1.2"
TYPES = {
    ".css": "text/css",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".pdf": "application/pdf",
    ".whl": "application/zip",
}


@dataclass(frozen=True)
class File:
    """One file of the archive: its name there, its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Facts:
    """What a crate is made from: `CITATION.cff`, `provenance.json`, `results.json`, the repository's address if any."""

    citation: Mapping[str, Any]
    chapters: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Any]
    repository: str | None = None


def describe(facts: Facts, files: Iterable[File]) -> str:
    """The text of `ro-crate-metadata.json`: the same for the same facts and files.

    `files` are described one by one; the folder `site/` as a whole.
    """
    crate = ROCrate(version=VERSION)
    _root(crate, facts)
    described = {file.name: _file(crate, file) for file in files}
    crate.add_dataset(dest_path="site/", properties={"name": "The book as a web site: open index.html"})
    for name, entry in facts.chapters.items():
        _run(crate, name, entry, described.get(f"notebooks/{name}.ipynb"))
    for claim in facts.results["claims"]:
        _review(crate, claim)
    return json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False) + "\n"


def _root(crate: ROCrate, facts: Facts) -> None:
    about, ends = facts.citation, [str(entry["executed"]) for entry in facts.chapters.values()]
    root = crate.root_dataset
    root["name"], root["version"] = about["title"], str(about["version"])
    root["description"] = " ".join(str(about.get("abstract", about["title"])).split())
    root["datePublished"] = max(ends)
    root["license"] = _entity(crate, "https://spdx.org/licenses/MIT", "CreativeWork", name=about.get("license", "MIT"))
    root["author"] = [_author(crate, author) for author in about["authors"]]
    root["conformsTo"] = _entity(crate, PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    root["keywords"] = ", ".join(about.get("keywords", []))
    if facts.repository:
        root["isBasedOn"] = {"@id": facts.repository}
    root["citation"] = [
        _entity(crate, work["url"], "ScholarlyArticle", name=work["title"]) for work in about.get("references", [])
    ]


def _author(crate: ROCrate, author: Mapping[str, str]) -> ContextEntity:
    if "family-names" in author:
        name = f"{author['given-names']} {author['family-names']}"
        return _entity(crate, author.get("orcid", f"#{name.replace(' ', '-')}"), "Person", name=name)
    return _entity(crate, f"#{author['name'].replace(' ', '-')}", "Organization", name=author["name"])


def _file(crate: ROCrate, file: File) -> ContextEntity:
    properties = {"name": file.name.split("/")[-1], "contentSize": str(file.size), "sha256": file.sha256}
    suffix = "." + file.name.rsplit(".", 1)[-1]
    return crate.add_file(
        dest_path=file.name, properties=properties | {"encodingFormat": TYPES.get(suffix, "text/plain")}
    )


def _run(crate: ROCrate, name: str, entry: Mapping[str, Any], notebook: ContextEntity | None) -> None:
    """One chapter's execution: when, how long, with what, on what, by which commit."""
    end = datetime.fromisoformat(entry["executed"])
    commit = (entry["commit"] or "unknown") + (" with local changes" if entry["dirty"] else "")
    properties = {
        "name": f"Execution of chapter {name}",
        "startTime": (end - timedelta(seconds=entry["seconds"])).isoformat(timespec="seconds"),
        "endTime": entry["executed"],
        "duration": f"PT{entry['seconds']:g}S",
        "description": f"Peak memory {entry['peak_mib']} MiB; commit {commit}",
    }
    inputs = [_data(crate, entry["data"]), *_parameters(crate, name, entry["parameters"])]
    crate.add_action(
        _software(crate, entry, commit), f"#run-{name}", inputs, [notebook] if notebook else [], properties
    )


def _software(crate: ROCrate, entry: Mapping[str, Any], commit: str) -> ContextEntity:
    """The book's code at one commit, with the versions of what it needs."""
    needs = [
        _entity(crate, f"#{package}-{version}", "SoftwareApplication", name=package, softwareVersion=version)
        for package, version in entry["versions"].items()
    ]
    version = commit.replace(" ", "-")
    return _entity(
        crate, f"#lowcap-{version}", "SoftwareApplication", name="lowcap", softwareVersion=commit,
        softwareRequirements=needs,
    )  # fmt: skip


def _data(crate: ROCrate, identity: Mapping[str, Any]) -> ContextEntity:
    """The images, with the MD5 sum of each file (that is what their publishers give)."""
    sums = [
        _entity(crate, f"#{identity['name']}-{file}", "PropertyValue", name=file, propertyID="MD5", value=digest)
        for file, digest in (identity.get("files") or {}).items()
    ]
    size = f"{identity['n_train']} training and {identity['n_test']} test images"
    return _entity(
        crate, f"#data-{identity['name']}", "Dataset", name=identity["name"],
        description=f"{identity['source']}; {size}", identifier=sums,
    )  # fmt: skip


def _parameters(crate: ROCrate, chapter: str, parameters: Mapping[str, Any]) -> list[ContextEntity]:
    return [
        _entity(crate, f"#{chapter}-{name}", "PropertyValue", name=name, value=json.dumps(value))
        for name, value in parameters.items()
    ]


def _review(crate: ROCrate, claim: Mapping[str, Any]) -> None:
    """A claim, its criterion, the numbers it rests on, and the verdict of this run."""
    numbers = [
        _entity(crate, f"#{claim['id']}-{i}", "PropertyValue", name=name, value=value)
        for i, (name, value) in enumerate(claim["numbers"].items())
    ]
    rating = _entity(crate, f"#verdict-{claim['verdict'].replace(' ', '-')}", "Rating", name=claim["verdict"])
    review = _entity(
        crate, f"#claim-{claim['id']}", "ClaimReview", name=claim["id"], claimReviewed=claim["sentence"],
        reviewBody=claim["criterion"], reviewRating=rating, hasPart=numbers, creditText=claim["source"],
        result={"@id": f"#run-{claim['chapter']}"},
    )  # fmt: skip
    crate.root_dataset.append_to("mentions", review)


def _entity(crate: ROCrate, key: str, kind: str, /, **properties: Any) -> ContextEntity:
    """The entity with this identifier; made with these properties if it is not there yet."""
    found = crate.get(key)
    return found or crate.add(ContextEntity(crate, key, properties={"@type": kind} | properties))
