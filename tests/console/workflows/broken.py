"""Fails to import: the console shows how."""

raise RuntimeError("the licence file is missing: <script>window.pwned = 1</script>")
