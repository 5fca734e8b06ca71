"""The segment language: rules that say which customers are meant.

`tree` walks a definition, `check` holds it against the catalogue, `describe` says it in words, `match` decides and
explains it for one customer, `sql` turns it into one statement that decides it for all. The last two agree on every
customer; tests hold them to it.

Who wants the members of a segment as a set:

    catalogue = queries.segments.catalogue(db, definition, as_of)          # what the definition refers to
    members = sql.members_select(definition, as_of, catalogue)             # select customer_id, one row for each member

`members_select(definition: Definition, as_of: datetime, catalogue: Catalogue) -> sqlalchemy.Select[tuple[str]]` has
all values as bound parameters, names no clock, and can stand as a subquery or as the source of an insert. It raises
`Invalid` where the definition no longer fits the catalogue. `queries.segments.find(db, reference) -> Segment` reads a
segment by key or id, with the version that is in force.
"""
