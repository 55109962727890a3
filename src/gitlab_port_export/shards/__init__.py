"""One sync in several jobs or processes: a survey, shards that read and write, and one last step that deletes."""
