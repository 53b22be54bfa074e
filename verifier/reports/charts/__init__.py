"""Plots as marks on a plane: the same marks become SVG in the page and PNG beside it.

Marks rather than a plotting library: an inline SVG of a few kilobytes follows the page's colours in
the dark and on paper, needs no font and no second to import, and holds nothing that we did not put
there. All text in a chart is the project's own.
"""
