"""Who may see files, and what they are filtered by: fixed, or by rules for their paths."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from connectors.visibility import Visibility, as_stored
from rag.ports import PUBLIC


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRule:
    """What holds for files that a glob names, over what the source says; None leaves that as it is."""

    path: str
    tenant: str | None = None
    acl: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVisibility:
    """Labels of files. Of the rules that name a file, the last one's tenant and acl hold; their tags add up."""

    tenant: str = "default"
    acl: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    rules: tuple[PathRule, ...] = field(default=())

    def of(self, file: str, matched: Sequence[frozenset[str] | set[str]]) -> Visibility:
        """The labels of a file; matched: the files that each rule names, in the rules' order."""
        tenant, acl, tags = self.tenant, self.acl, list(self.tags)
        for rule, files in zip(self.rules, matched, strict=True):
            if file in files:
                tenant = tenant if rule.tenant is None else rule.tenant
                acl = acl if rule.acl is None else rule.acl
                tags += rule.tags
        return Visibility(tenant=tenant, acl=as_stored(acl or (PUBLIC,)), tags=tuple(dict.fromkeys(tags)), metadata={})
