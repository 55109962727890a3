"""The signs, words and functions of jq that `reach.py` analyses."""

import re

TOKEN = re.compile(
    r"""
    (?P<blank>\s+|\#[^\n\\]*(?=\n|\Z)) # in a comment a backslash may swallow the next line
  | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<field>\.[A-Za-z_]\w*)
  | (?P<named>\.(?="))
  | (?P<recurse>\.\.)
  | (?P<dot>\.)
  | (?P<variable>\$[A-Za-z_]\w*)
  | (?P<format>@[a-z0-9]+)
  | (?P<word>[A-Za-z_]\w*(?!\w*::))
  | (?P<quote>")
  | (?P<sign>\?//|//=|[-+*/%|]=|//|==|!=|<=|>=|[-+*/%<>=|,:;?()\[\]{}])
    """,
    re.VERBOSE | re.ASCII,
)
# Not `\(`, which begins an expression.
PLAIN_TEXT = re.compile(r'(?:[^"\\]|\\[^(])*')
WORDS = frozenset(["if", "then", "elif", "else", "end", "as", "and", "or", "try", "catch", "reduce", "foreach", "def"])

# What gives the same on the jq that Port runs, perhaps 1.6, and here; what they take is looked at as a whole.
WHOLE = {
    0: """tostring tonumber ascii_downcase ascii_upcase type utf8bytelength fromdate todate fromdateiso8601
        todateiso8601 floor ceil round fabs add any all flatten keys to_entries from_entries unique sort reverse min
        max""",
    1: "split join startswith endswith ltrimstr rtrimstr test has contains inside flatten strftime",
    2: "sub gsub test split",
}
CONSTANTS = frozenset(["null", "true", "false", "empty"])
TAKES_ALL = {(name, count) for count, names in WHOLE.items() for name in names.split()}
# What looks at each item: the argument sees an item, and a part of the list or a new one comes out.
SEES_ITEMS = frozenset(["map", "select", "any", "all", "first", "sort_by", "unique_by", "min_by", "max_by"])
