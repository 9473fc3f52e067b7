"""The style sheet of every page, for light and dark screens; it loads nothing from elsewhere."""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2024; --faint: #7a838c; --line: #d5dade; --first: #0b62c4;
  --second: #c2410c; --mark: #15803d; --panel: #f5f7f9; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e4e8ec; --faint: #8d98a3; --line: #333b43;
  --first: #6cb2ff; --second: #ff9d5c; --mark: #5fd68a; --panel: #1d2328; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
.from { color: var(--faint); margin: 0 0 1.5rem; overflow-wrap: anywhere; }
.summary { font-size: 1.1rem; border-left: 4px solid var(--mark); padding: .25rem 0 .25rem 1rem; }
.summary.none { border-color: var(--second); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figure svg { width: 100%; height: auto; }
figure svg text { font-family: inherit !important; }
figcaption { font-weight: 600; margin-bottom: .25rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { white-space: normal; overflow-wrap: anywhere; vertical-align: top; min-width: 14rem; unicode-bidi: isolate; }
tr.chosen td { color: var(--mark); font-weight: 600; }
pre { background: var(--panel); padding: .75rem 1rem; overflow-x: auto; border-radius: 4px; }
li { margin: .25rem 0; }
"""
