"""The methods as a researcher would write each for one run: ordinary modules, torch's own layers, autograd.

The independent reference of the tests (in float64) and what `aqa bench methods` compares with. A file here is named
after its method and defines `Peer(data, **settings)`, a module with

    draw(x_l, x_u)                  what chance decides in a step, by torch's own generator: a dict
    loss(x_l, y, x_u, **drawn)      the loss of a step, a scalar; x [B,T,D], y [B] scaled scores
    load(stack)                     copies run 0's weights of the library's stacked network

and, where the method keeps something between steps, before(step) and after(step). By name they may take what else there
is: views, {name: (labelled, unlabelled)}; targets of the labelled; items, the numbers of both; y of all items, NaN
where there is no label, in `before`; and `labelled`, the numbers of all labelled items, in `Peer`.

Nothing of aqa_lib is used here.
"""
