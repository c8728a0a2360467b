"""Other companies as small real HTTP servers, for the demo and the tests."""
