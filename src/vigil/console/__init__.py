"""The console: a web page on the loopback address that shows sessions and starts and stops them.

It shows what the journal, the state machine and the bucket contain, through the client of the command line, and keeps
nothing. The server renders every page. A page that may change asks for its own address as a stream of events: each
event is the page again, of which the script replaces what differs.
"""
