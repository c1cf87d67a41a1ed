# Whether another flavour of this product has taken the place of this package.
superseded() {
    now=$(installed VARIANT)
    [ -n "$now" ] && [ "$now" != "$variant" ]
}
