"""The HTTP call to an agent: `client` sends, `outcome` says what the answer means, `guard` which addresses may be called at all."""
