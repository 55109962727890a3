"""What any program of this kind needs: HTTP, JSON, text, streams, a pool of workers, errors."""
