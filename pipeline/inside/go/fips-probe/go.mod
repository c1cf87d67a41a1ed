module fipsprobe

go 1.26
