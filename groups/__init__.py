"""The demand side: campaigns, groups, orders and their admission."""
