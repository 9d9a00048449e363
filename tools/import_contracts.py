"""The `only` contract of import-linter: a room imports nothing but what its row of the room table grants.

import-linter's own `forbidden` contract lists what must not be imported, so the next third-party package
would slip through; this one lists what may be. Within a room every import is free. The standard library is
free too, less what a contract takes out with `not_stdlib`: that is how the pure core stays without clock,
thread and I/O.

Imports under `if TYPE_CHECKING:` count: a type of another room is a dependency on it.
"""

import sys
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OnlyContract(Contract):
    """One row of the room table.

    room: the package that the row is about.
    rooms: our other packages that it may import.
    packages: third-party packages that it may import, by top-level name (`google` for google.protobuf).
    not_stdlib: modules of the standard library that it may not import, by top-level name.
    """

    type_name = "only"

    room = fields.StringField()
    rooms = fields.SetField(subfield=fields.StringField())
    packages = fields.SetField(subfield=fields.StringField())
    not_stdlib = fields.SetField(subfield=fields.StringField(), required=False, default=set())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, FBT001  # their signature
        """Broken by each import that leaves the room for a place that the row does not name."""
        # import-linter replaces each field by its value when it reads the contract.
        room = cast("str", self.room)
        granted = {room} | cast("set[str]", self.rooms) | cast("set[str]", self.packages)
        granted |= sys.stdlib_module_names - cast("set[str]", self.not_stdlib)
        strays = []
        for importer in sorted({room} | graph.find_descendants(room)):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                if imported.partition(".")[0] not in granted:
                    details = graph.get_import_details(importer=importer, imported=imported)
                    lines = sorted({detail["line_number"] for detail in details})
                    strays.append((importer, imported, lines))
        return ContractCheck(kept=not strays, metadata={"strays": strays})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line an import: who, what, where."""
        for importer, imported, lines in check.metadata["strays"]:
            where = ", ".join(f"l.{line}" for line in lines)
            output.print_error(f"{importer} may not import {imported} ({where})", bold=False)
        output.new_line()
