"""What a user may do about a row that Port refuses, or about a call that it does not allow."""

WRITE, DELETE = "create and update entities of this blueprint", "delete entities of this blueprint"
UNFIT = "correct the field's expression in the mapping, or the blueprint in Port"
CIRCLE = (
    "these entities relate to each other in a circle; write createMissingRelatedEntities: true in the mapping, "
    "or make a relation of the circle optional in Port"
)
RELATED = "map the related entity too, or write createMissingRelatedEntities: true in the mapping"
# The hint for each status of Port's answers about one row.
ADVICE = {
    400: UNFIT,
    404: "see whether the blueprint still exists in Port, and run again",
    413: "map less into the entity: Port takes no larger one",
    422: UNFIT,
}
