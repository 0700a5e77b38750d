"""A differential test of the response cache: the same service with it and without.

Both are driven by the same scenario, and every pair of answers has to be equal. It
knows `app.cache`'s exported names and nothing of how they are made. Runs in a rendered
service: `python -m tests.oracle --help`.

- `scenario`: what a scenario is, and how Hypothesis draws one
- `source`: the dimensions of a route, each choice a line; writes the routes' code
- `parts`: what that code uses: decorators, dependencies, rules, middleware
- `tables`, `values`: cached reads of tables, and all ways of writing to them; cached
  functions with values of all kinds
- `service`: makes the applications; `worker`: a process that runs scenarios in them
- `compare`: what "equal" means; `__main__`: two workers, and the command line
"""
