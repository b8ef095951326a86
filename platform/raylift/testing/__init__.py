"""For the tests of models, Raylift's own and yours: the laws that every model keeps, batches in closed form, ranks."""
