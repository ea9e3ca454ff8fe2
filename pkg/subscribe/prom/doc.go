// Package prom exports the metrics of a subscriber to Prometheus: the same names, labels and help as the server's, so that
// alerts for the server also work for services that link the library.
//
//	sub, err := subscribe.Open(ctx, subscribe.Config{
//		Datasets: datasets,
//		Observer: prom.Observer(prometheus.DefaultRegisterer, datasets...),
//		...
//	})
//	prom.Register(prometheus.DefaultRegisterer, sub)
//	prom.RegisterLanes(prometheus.DefaultRegisterer, sub.Lanes())
//	prom.RegisterPools(prometheus.DefaultRegisterer, sub)
//	prom.RegisterBuild(prometheus.DefaultRegisterer)
package prom
