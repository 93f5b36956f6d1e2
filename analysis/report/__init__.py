"""All exhibits and verdicts of a store as files and one page: ``python -m analysis.report``.

`command` writes the files, `findings` says in sentences what each experiment remembers, and `page`
puts everything into one HTML file that needs nothing beside itself.
"""
