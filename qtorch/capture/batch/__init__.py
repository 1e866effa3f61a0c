"""The batch in front, wherever a network moves it: layouts, the pass, and a rule for each kind of call."""
