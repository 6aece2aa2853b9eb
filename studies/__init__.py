"""Every measurement whose result the book shows, and the one runner behind them.

::

    python -m studies list                              # what there is, and whether it was made with today's weights
    python -m studies denoising limits --jobs 2         # measure; the results go to data/results
    python -m studies all --dry                         # one tiny job of each kind, a minute: does everything start?
    python -m studies compare --config studies/configs/small.json --jobs 2      # a comparison of your own

A study is a module with a docstring, the names of its result files (``RESULTS``)
and a function ``study(run)`` that asks the runner for jobs and returns the content of the files. A job is a plain
function of arguments that JSON can hold. It is known by a digest of what was asked and of the weights and volumes
that are named there, and leaves one file in ``runs/STUDY``. So the same command goes on after an interruption, and
computes nothing twice (:mod:`studies.runner`). The chapters read results through :func:`studies.results.load`.
"""
