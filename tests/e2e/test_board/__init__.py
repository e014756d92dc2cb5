"""A package, unlike its neighbours, so that its files share one app and one browser (scope `package`)."""
